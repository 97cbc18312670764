"""A real long job to watch: counts the words of a folder's text files while a worker is killed."""
