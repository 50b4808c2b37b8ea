"""Directus: who is at the other end, and what may they see?"""
