"""The process that sends a run to W&B, and sinks such as MLflow and TensorBoard."""
