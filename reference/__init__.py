"""The NumPy ground truth of convspec: geometry, the literal definition, the fast form, the layers of a small network.

Depends on NumPy alone and on nothing else of ours. Its modules are the interface: `arguments`, `geometry`,
`definition`, `conv2d`, `max_pool`, `network`; the public functions are handed on by `convspec` itself.
"""
