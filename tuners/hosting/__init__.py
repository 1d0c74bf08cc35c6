"""Other people's Python in a child process: algorithms, models and the cleaning of data, ended whatever they do."""
