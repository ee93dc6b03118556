"""What pipelines that train gated encoders share: trainings, evaluations, speed."""
