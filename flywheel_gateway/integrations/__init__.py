"""Code that runs inside other gateways: each file is self-contained, to be copied to where it is used."""
