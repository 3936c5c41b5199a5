"""Send raw RGB frames from standard input to `emonet-fast serve` and print their faces (pip install websockets).

    gst-launch-1.0 -q v4l2src ! videoconvert ! videoscale ! video/x-raw,format=RGB,width=640,height=480 ! fdsink |
        python send_frames.py 640 480
    ffmpeg -v error -i talk.mp4 -vf scale=640:480,fps=5 -f rawvideo -pix_fmt rgb24 - | python send_frames.py 640 480

Frames go out as they come; the server drops those that it has no time for, and says how many.
"""

import json
import os
import struct
import sys
import threading
import time

from websockets.sync.client import connect


def main() -> None:
    width, height = int(sys.argv[1]), int(sys.argv[2])
    url = sys.argv[3] if len(sys.argv) > 3 else "ws://127.0.0.1:8000/v1/stream?fields=softmax&top=3"
    token = os.environ.get("EMONET_FAST_TOKEN")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with connect(url, additional_headers=headers) as server:
        sent, whole = 0, threading.Event()

        def send() -> None:
            nonlocal sent
            while len(frame := sys.stdin.buffer.read(width * height * 3)) == width * height * 3:
                server.send(struct.pack("<dII", time.monotonic(), width, height) + frame)
                sent += 1
            whole.set()

        threading.Thread(target=send, daemon=True).start()
        answered = 0
        while not whole.is_set() or answered < sent:  # the newest frame is never dropped
            try:
                answer = json.loads(server.recv(timeout=0.1))
            except TimeoutError:
                continue
            answered = answer.get("frame", -1) + 1
            for row in answer.get("rows", []):
                strongest = ", ".join(f"{one['emotion']} {one['value']:.2f}" for one in row["top"])
                print(f"{answer['seconds']:.2f} s, track {row['track']}: {strongest or row['reason']}", flush=True)
            if answer.get("dropped"):
                print(f"{answer['dropped']} frames were dropped", file=sys.stderr)


if __name__ == "__main__":
    main()
