#@ String (label = "Request (a file with the arguments of cellpose-fiji)", persist = false) request
#@ Boolean (label = "Wait for its end", value = true, persist = false) wait
// Ask Worker
//
// Lets the Python process that Fiji keeps do what the command line does. The macros of this menu use it; a macro of your own
// can as well. The request is a TOML file with one line; it is removed.
//
//     File.saveString("arguments = [\"measure\", \"/path/image.tif\", \"/path/RoiSet.zip\", \"--out\", \"/path/out\"]", request);
//     run("Ask Worker", "request=[" + request + "] wait=true");

def lib = new File(ij.IJ.getDirectory("imagej"), "lib/cellpose-fiji-bridge")
def loader = new GroovyClassLoader(getClass().getClassLoader())
loader.addClasspath(lib.path)
def worker = loader.loadClass("CellposeWorker").newInstance("Ask Worker")
worker.perform { worker.command(request, wait) }
null
