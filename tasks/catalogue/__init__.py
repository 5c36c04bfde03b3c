"""The catalogue of data sets: importing it defines all of them, and reads none."""
