"""Students: the arms they train on, the experiment that compares them, and its report."""
