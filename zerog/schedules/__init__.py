"""Schedules: jobs that the leading worker submits at times given by a cron expression or an interval."""
