"""Cluster files from a few words: Ray's launcher (AWS, GCP, SSH), KubeRay, a Slurm batch script."""
