"""A map in the browser: does everything work, as a spectator sees it?"""
