"""Where people look in panoramas: data, ground truth, metrics, prediction."""
