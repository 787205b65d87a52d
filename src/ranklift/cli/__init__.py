"""The `ranklift` command. Heavy modules are imported by the command that needs them."""
