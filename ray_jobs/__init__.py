"""Training runs as Ray jobs: python -m ray_jobs.submit, from the root of the repository."""
