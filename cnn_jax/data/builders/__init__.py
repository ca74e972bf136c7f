"""TFDS builders that prepare the stock data sets without TensorFlow."""
