"""What the commands of `raysearch bench` share: rivals, clients, machines to kill, landscapes to search."""
