"""The page `/docs`: Swagger UI over the OpenAPI document, its files pinned by version and hash."""

from starlette.responses import HTMLResponse

# Both are files of the npm package swagger-ui-dist, whose sha384 a browser checks before it runs them.
CDN = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.35.0"
SCRIPT = "sha384-gjRm0bEPMeTmMh5jT2cHccIwCUZSTd8YC+j0d0sXw0MdGEfScduGpSyF3ZSSLkX9"
STYLE = "sha384-WlYgdmXYOOBWL5apwjDEZwN+U3HmXSSu5R6V5aGxEcf7z+KuRNwBhoxKVN1i3D5I"
PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Coffer</title>
<link rel="stylesheet" href="{CDN}/swagger-ui.css" integrity="{STYLE}" crossorigin="anonymous">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{CDN}/swagger-ui-bundle.js" integrity="{SCRIPT}" crossorigin="anonymous"></script>
<script>SwaggerUIBundle({{url: "openapi.json", dom_id: "#swagger-ui"}})</script>
</body>
</html>
"""


def docs_page() -> HTMLResponse:
    """Answer with the page."""
    return HTMLResponse(PAGE)
