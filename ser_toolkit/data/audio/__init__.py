"""From bytes of a recording to samples: containers, decoding, resampling, channels, durations."""
