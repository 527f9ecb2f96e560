// Has PyTorch's CPU build believe in one NVIDIA GPU, as far as fake tensors need it: they have a device, a type and a
// shape, and no numbers. No kernel ever runs. Loaded before PyTorch (LD_PRELOAD), which asks for its hooks only once.
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace at {
namespace {

constexpr auto kGpu = c10::DeviceType::CUDA;

// PyTorch's own no-op guard knows no events, which autograd asks for between streams.
struct Guard final : c10::impl::NoOpDeviceGuardImpl<kGpu> {
  Device exchangeDevice(Device) const override { return Device(kGpu, 0); }
  Device getDevice() const override { return Device(kGpu, 0); }
  Stream getStream(Device) const noexcept override { return only(); }
  Stream getNewStream(Device, int = 0) const override { return only(); }
  Stream exchangeStream(Stream) const noexcept override { return only(); }
  void record(void**, const Stream&, const DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  static Stream only() { return Stream(Stream::DEFAULT, Device(kGpu, 0)); }
};

// The name under which PyTorch looks its hooks up is this one.
struct CUDAHooks final : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex getCurrentDevice() const override { return 0; }
};

c10::impl::DeviceGuardImplRegistrar guard(kGpu, new Guard());
REGISTER_CUDA_HOOKS(CUDAHooks);

} // namespace
} // namespace at
