"""The command line: a file per noun. Commands that store or look up are clients of the HTTP API (`cli.door`)."""
