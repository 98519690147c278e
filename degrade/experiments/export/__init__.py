"""Results for other programs: curves as CSV and for TensorBoard, nets as safetensors. Other rooms call all of it."""
