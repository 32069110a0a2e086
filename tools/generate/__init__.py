"""What is generated from the code and stack.yml: schemas, manifests, stack-ce.yml, tables of the README files."""
