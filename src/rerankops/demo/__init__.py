"""The demonstration's world: a fictional car line-up, its manual, its users and its simulated annotators.

Everything here is invented and generated from a seed; nothing is measured from people or taken from a real maker.
"""
