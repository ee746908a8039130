"""What a TML cluster is and what may be done to it: values, pure decisions and the loop that carries them out."""
