"""Says which GPU the tests ran on."""

import torch


def pytest_report_header():
    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return f"{name}, PyTorch {torch.__version__}"
