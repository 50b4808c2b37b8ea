"""Redis: what do the trackers say?"""
