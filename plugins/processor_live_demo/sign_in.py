"""What does a person see who has to sign in? A button for each user, and afterwards the events, open to him or not."""

import html
from collections.abc import Iterator

from processor_live_demo.access import Access, User

HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in: stand-in Directus</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { max-width: 34rem; margin: 8vh auto; padding: 0 1rem }
  h1 { margin: 0 }
  p { margin: 0 }
  .card { display: flex; gap: 1rem; align-items: center; justify-content: space-between; margin: 1rem 0;
          padding: 1rem 1.25rem; border: 1px solid #8886; border-radius: 10px; color: inherit; text-decoration: none }
  button { flex: none; min-height: 2.75rem; padding: 0 1.25rem; border: 0; border-radius: 8px; background: #0b63b6;
           color: #fff; font: inherit; font-weight: 600; cursor: pointer }
  .soft { opacity: .75 }
</style>
<main>
"""


def sign_in_page(access: Access, user: User | None) -> str:
    """Return the page, as HTML, for whoever is signed in at the moment."""
    return HEAD + "\n".join(_parts(access, user))


def _parts(access: Access, user: User | None) -> Iterator[str]:
    if user is None:
        yield "<h1>Who are you?</h1><p>Signed out.</p>"
    else:
        yield f"<h1>The live map</h1><p>Signed in as {html.escape(user.email)}.</p>"
        for event, name in access.names.items():
            said = "open to you" if event in user.events else "not open to you; see how the map says so"
            yield _card("a", f'href="/map#{event}"', html.escape(name), said, "<span>→</span>")
    for known in access.users.values():
        email, password = html.escape(known.email), html.escape(known.password)
        names = " and ".join(html.escape(name) for event, name in access.names.items() if event in known.events)
        said = f"password {password}{names and f'; may watch {names}'}"
        fields = f"""<input type="hidden" name="email" value="{email}">
            <input type="hidden" name="password" value="{password}"><button>Sign in</button>"""
        yield _card("form", 'method="post" action="/auth/login"', email, said, fields)


def _card(tag: str, attributes: str, title: str, said: str, action: str) -> str:
    text = f'<div><strong>{title}</strong><p class="soft">{said}</p></div>'
    return f'<{tag} class="card" {attributes}>{text}{action}</{tag}>'
