"""Pages that are made of other files: each module has `pages()`, from a path below docs/ to its Markdown."""
