"""The router: how it is trained, judged, promoted and taken up."""
