"""Signal features: mel filterbanks, prosody, functionals."""
