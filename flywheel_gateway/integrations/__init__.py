"""What runs inside other gateways: each file stands alone, to be copied to where it is used."""
