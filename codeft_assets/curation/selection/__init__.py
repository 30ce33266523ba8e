"""Which instruct documents are worth their tokens: those that are complex, right, and unlike those taken before."""
