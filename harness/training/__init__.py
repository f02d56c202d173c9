"""The end-to-end check: nets trained on MNIST in lockstep with the reference; and the digits they are trained on.

May import the reference, the adapters' names and the rest of the harness; a framework never, pooch and Matplotlib only
when they are asked for. Nothing outside this folder imports it but the command line.
"""
