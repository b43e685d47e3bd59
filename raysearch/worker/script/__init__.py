"""Scripts as trainables: a process a trial, whose reports and printed lines become iterations."""
