"""Reads and writes records in a wire format like that of protocol buffers: fields of varints and bytes."""


def write_varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data, at):
    shift = value = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def write_record(fields):
    out = bytearray()
    for number, values in fields.items():
        packed = b"".join(map(write_varint, values))
        out += write_varint(number << 3 | 2) + write_varint(len(packed)) + packed
    return bytes(out)


def read_packed(data, at, end):
    values = []
    while at < end:
        value, at = read_varint(data, at)
        values.append(value)
    return values


def read_record(data):
    fields, at = {}, 0
    while at < len(data):
        tag, at = read_varint(data, at)
        length, at = read_varint(data, at)
        fields[tag >> 3] = read_packed(data, at, at + length)
        at += length
    return fields
