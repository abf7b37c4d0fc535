"""What an output says about itself, whose consent it has, and who must not be touched."""
