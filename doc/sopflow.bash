# Completion of the program sopflow for bash.
