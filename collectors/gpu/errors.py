"""The meaning of the driver's error codes, and the sentences for those that leave no GPU to show."""

from __future__ import annotations

import pynvml as nvml  # the package nvidia-ml-py

from .inventory import NO_DRIVER, NO_GPU

ABSENT = {
    nvml.NVML_ERROR_NOT_SUPPORTED,
    nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    nvml.NVML_ERROR_NO_PERMISSION,
    nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    nvml.NVML_ERROR_DEPRECATED,
}
NOTHING_NOW = {
    nvml.NVML_SUCCESS,  # the binding raises on a success without rows
    nvml.NVML_ERROR_NOT_FOUND,
    nvml.NVML_ERROR_NO_DATA,
    nvml.NVML_ERROR_NOT_READY,
    nvml.NVML_ERROR_TIMEOUT,
    nvml.NVML_ERROR_INSUFFICIENT_SIZE,  # a process or a sample appeared between the two calls that size and fill a list
}
GONE = {nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED, nvml.NVML_ERROR_GPU_NOT_FOUND}
DRIVER_GONE = {
    nvml.NVML_ERROR_UNINITIALIZED,
    nvml.NVML_ERROR_DRIVER_NOT_LOADED,
    nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
}

NOTES = {
    nvml.NVML_ERROR_LIBRARY_NOT_FOUND: NO_DRIVER,
    nvml.NVML_ERROR_DRIVER_NOT_LOADED: "The NVIDIA library is installed, but its driver is not loaded: showing the host.",
    nvml.NVML_ERROR_UNINITIALIZED: "The NVIDIA driver is being reloaded: showing the host.",
    nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "The NVIDIA driver and its library are of different versions: reboot to fix it.",
    nvml.NVML_ERROR_GPU_NOT_FOUND: NO_GPU,
    nvml.NVML_ERROR_NO_PERMISSION: "This user may not use the NVIDIA driver: see the permissions of /dev/nvidiactl.",
}
