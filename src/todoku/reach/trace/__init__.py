"""One real connection followed hop by hop: armed, run, collected, and put in order."""
