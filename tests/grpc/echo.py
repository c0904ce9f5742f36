"""A gRPC server and client without generated code: messages are plain bytes.

    echo.py serve              prints its port, answers until it is ended
    echo.py call ADDRESS [CA]  makes every kind of call, prints one JSON object
    echo.py hold ADDRESS       holds one call open: sends each line of its input, prints each answer, at the
                               end its status

gRPC's own library is both, so that the proxy between them meets what it meets in the field.
"""

import json
import sys
import threading
from concurrent import futures

import grpc

SERVICE = "serin.test.Echo"


def fail(request, context):
    """Ends with the status that the request names; with `first` before it, after one message."""
    context.abort(grpc.StatusCode[request.decode()], "as asked")


def unary(request, context):
    context.send_initial_metadata((("x-first", "head"),))
    context.set_trailing_metadata((("x-last", "trailer"),))
    return request


def collect(requests, _context):
    return b",".join(requests)


def count(request, _context):
    for number in range(int(request)):
        yield str(number).encode()


def converse(requests, _context):
    for request in requests:
        yield request.upper()


def break_off(request, context):
    yield b"one"
    context.abort(grpc.StatusCode[request.decode()], "in the middle")


def hang(request, context):
    stopped = threading.Event()
    context.add_callback(stopped.set)
    stopped.wait(30)
    return request


def serve():
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Hang": grpc.unary_unary_rpc_method_handler(hang),
        "Collect": grpc.stream_unary_rpc_method_handler(collect),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Break": grpc.unary_stream_rpc_method_handler(break_off),
        "Converse": grpc.stream_stream_rpc_method_handler(converse),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()


def status_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def call(address, authority=None):
    if authority is None:
        channel = grpc.insecure_channel(address)
    else:
        with open(authority, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        name = (("grpc.ssl_target_name_override", "localhost"),)
        channel = grpc.secure_channel(address, credentials, name)
    method = lambda name: f"/{SERVICE}/{name}"
    said = {}
    with channel:
        answer, ended = channel.unary_unary(method("Unary")).with_call(b"hello", timeout=10)
        said["unary"] = answer.decode()
        said["first"] = dict(ended.initial_metadata()).get("x-first")
        said["last"] = dict(ended.trailing_metadata()).get("x-last")
        large = b"x" * (3 * 1024 * 1024)
        said["large"] = channel.unary_unary(method("Unary"))(large, timeout=20) == large
        said["collect"] = channel.stream_unary(method("Collect"))(
            iter([b"a", b"b", b"c"]), timeout=10
        ).decode()
        counted = channel.unary_stream(method("Count"))(b"5", timeout=10)
        said["count"] = [message.decode() for message in counted]
        said["converse"] = converse_with(channel.stream_stream(method("Converse")))
        asked = sys.argv[4:] if authority else sys.argv[3:]
        for status in (word for word in asked if word != "deadline"):
            ask = channel.unary_unary(method("Fail"))
            said[status] = status_of(lambda: ask(status.encode(), timeout=10))
        broken = channel.unary_stream(method("Break"))
        said["break"] = status_of(lambda: list(broken(b"DATA_LOSS", timeout=10)))
        if "deadline" in asked:
            hanging = channel.unary_unary(method("Hang"))
            said["deadline"] = status_of(lambda: hanging(b"", timeout=0.2))
        unknown = channel.unary_unary(method("Nothing"))
        said["unknown"] = status_of(lambda: unknown(b"", timeout=10))
    print(json.dumps(said))


def hold(address):
    with grpc.insecure_channel(address) as channel:
        lines = (line.strip().encode() for line in iter(sys.stdin.readline, ""))
        answers = channel.stream_stream(f"/{SERVICE}/Converse")(lines)
        try:
            for answer in answers:
                print(answer.decode(), flush=True)
        except grpc.RpcError:
            pass
        print(answers.code().name, flush=True)


def converse_with(method):
    """Sends each word only after the answer to the one before has come."""
    heard = []
    may_send = threading.Semaphore(1)

    def words():
        for word in (b"one", b"two", b"three"):
            if not may_send.acquire(timeout=10):
                raise TimeoutError("no answer to the word before")
            yield word

    for answer in method(words(), timeout=20):
        heard.append(answer.decode())
        may_send.release()
    return heard


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    elif sys.argv[1] == "hold":
        hold(sys.argv[2])
    else:
        # An authority is a file, `deadline` has one pass, all else is a status to be answered with.
        has_authority = len(sys.argv) > 3 and sys.argv[3].endswith(".pem")
        call(sys.argv[2], sys.argv[3] if has_authority else None)
