"""MongoDB deployments."""
