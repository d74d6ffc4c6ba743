"""Tables as data, one TOML file each."""
