#!/usr/bin/env python3
"""A wire to a server of this machine that counts what is sent over it.

    tests/bench/wire.py PORT SERVER_PORT FILE

Listens on PORT of the loopback and hands everything on to SERVER_PORT; FILE has the number of bytes that
clients have sent so far, their requests' headers included.
"""
import socket
import sys
import threading

port, server_port, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
lock = threading.Lock()
sent = 0


def count(number):
    global sent
    with lock:
        sent += number
        counter.seek(0)
        counter.write(f"{sent}\n")
        counter.flush()


def hand_on(source, target, counts):
    try:
        while chunk := source.recv(1 << 16):
            if counts:
                count(len(chunk))
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # One of them is gone: so is the connection.


def serve(client):
    with client, socket.create_connection(("127.0.0.1", server_port)) as server:
        answers = threading.Thread(target=hand_on, args=(server, client, False))
        answers.start()
        hand_on(client, server, True)
        answers.join()


with open(path, "w") as counter, socket.create_server(("127.0.0.1", port)) as listener:
    count(0)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
