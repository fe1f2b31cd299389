"""What is answered to the header Expect, on known routes and others. aiohttp itself fails over odd bytes in it."""

import warnings

from aiohttp import hdrs, web

from gateway.transports.problems import of_refusal

CONTINUE = "100-continue"


class Routes(web.UrlDispatcher):
    """The routes of an application; what a client may not expect of any is refused before one is looked for."""

    async def resolve(self, request: web.Request) -> web.UrlMappingMatchInfo:
        """Return the route of a request. Raises `HTTPExpectationFailed`."""
        if request.headers.get(hdrs.EXPECT, CONTINUE).lower() != CONTINUE:
            told = of_refusal(request, web.HTTPExpectationFailed())
            raise web.HTTPExpectationFailed(text=told.text, content_type=told.content_type)
        return await super().resolve(request)


def new_app(*, client_max_size: int = 1024 * 1024) -> web.Application:
    """Return an application without routes that takes bodies of so many bytes."""
    with warnings.catch_warnings():  # aiohttp has no other way to a router of one's own before its version 4
        warnings.filterwarnings("ignore", "router argument is deprecated", DeprecationWarning)
        return web.Application(router=Routes(), client_max_size=client_max_size)
