"""Training many models of one structure in one vectorised step. Imports torch and no Ray."""
