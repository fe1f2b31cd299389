"""What is answered to the header Expect. aiohttp itself fails over one that is no text, on any route."""

from aiohttp import HttpVersion10, hdrs, web

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def answer_expect(request: web.Request) -> None:
    """Tell a client that waits for it to send its body; refuse any other expectation."""
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        raise web.HTTPExpectationFailed
    if request.version > HttpVersion10:
        await request.writer.write(CONTINUE)
        request.writer.output_size = 0
