#@ String (visibility = MESSAGE, value = "<html>Downloads Python 3.12, PyTorch, Cellpose and what they need (no administrator needed),<br>to <i>.local/share/appose</i> in your home folder: 0.7 GB without an NVIDIA card, 3.5 GB with one;<br>on the disk 2.5 GB and 8 GB. Models follow at their first use (cyto3: 26 MB).</html>", required = false) what
#@ String (label = "PyTorch for", choices = {"this machine", "processor only", "as PyPI has it"}, value = "this machine", persistKey = "cellposefiji.install.torch") torch
// Install Bridge
//
// Installs the bridge's Python with Cellpose beside Fiji, once; again after an update, or where something is broken: what is
// there already is kept. By the wheel and the versions in lib/cellpose-fiji-bridge, and the uv that Appose fetches. Fiji's
// proxy (Edit > Options > Proxy Settings) is used. Esc or Cancel stops; the next try goes on there.
//
// PyTorch for    this machine: the build for its graphics card, else for the processor; as PyPI has it: where only PyPI
//                or a mirror of it can be reached.
// In a macro     run("Install Bridge", "torch=[this machine]");

def lib = new File(ij.IJ.getDirectory("imagej"), "lib/cellpose-fiji-bridge")
def loader = new GroovyClassLoader(getClass().getClassLoader())
loader.addClasspath(lib.path)
def worker = loader.loadClass("CellposeWorker").newInstance("Install Bridge")
worker.perform { loader.loadClass("CellposeInstaller").newInstance(worker).install(torch) }
null
