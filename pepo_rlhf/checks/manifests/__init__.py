"""Checks of RayJobs and RayClusters for Kubernetes, one aspect a file; manifest.py puts them together."""
