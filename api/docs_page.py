"""The page `/docs`: Swagger UI over the OpenAPI document. Its files are ours, so that it works without the Internet.

They are those of the npm package swagger-ui-dist 5.35.0 (Apache-2.0), pinned by their sha384, which a browser checks.
"""

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, HTMLResponse

FILES = Path(__file__).parent / "swagger"
SCRIPT, STYLE = "swagger-ui-bundle.js", "swagger-ui.css"
HASHES = {
    SCRIPT: "sha384-gjRm0bEPMeTmMh5jT2cHccIwCUZSTd8YC+j0d0sXw0MdGEfScduGpSyF3ZSSLkX9",
    STYLE: "sha384-WlYgdmXYOOBWL5apwjDEZwN+U3HmXSSu5R6V5aGxEcf7z+KuRNwBhoxKVN1i3D5I",
}
PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Coffer</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/{STYLE}" integrity="{HASHES[STYLE]}">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/{SCRIPT}" integrity="{HASHES[SCRIPT]}"></script>
<script>SwaggerUIBundle({{url: "openapi.json", dom_id: "#swagger-ui", validatorUrl: null}})</script>
</body>
</html>
"""


def add_docs_page(app: FastAPI) -> None:
    """Serve the page and its two files."""

    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE)

    async def script() -> FileResponse:
        return FileResponse(FILES / SCRIPT, media_type="text/javascript")

    async def style() -> FileResponse:
        return FileResponse(FILES / STYLE, media_type="text/css")

    for path, answer in (("/docs", page), (f"/docs/{SCRIPT}", script), (f"/docs/{STYLE}", style)):
        app.add_api_route(path, answer, include_in_schema=False)
