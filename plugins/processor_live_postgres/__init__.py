"""Postgres: what does the durable store know?"""
