"""Signal processing: resampling, windows, log-mel examples."""
